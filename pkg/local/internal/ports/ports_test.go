package ports

import (
	"errors"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStart_TriesAgainOnAnotherPortIfTheChosenOneIsTaken(t *testing.T) {
	for name, dir := range map[string]string{"kept": t.TempDir(), "not kept": ""} {
		t.Run(name, func(t *testing.T) {
			var tried []int
			got, err := Start(t.Context(), dir, func(port int) (int, error) {
				tried = append(tried, port)
				if len(tried) > 1 {
					return port, nil
				}
				l, err := net.Listen("tcp", Address(port)) // another one is faster
				if err == nil {                            // if not, yet another one was
					t.Cleanup(func() { _ = l.Close() })
				}
				return 0, errors.New("it ended at once")
			})
			require.NoError(t, err)
			require.Len(t, tried, 2)
			require.NotEqual(t, tried[0], got)
			if dir != "" {
				saved, err := Saved(dir)
				require.NoError(t, err)
				require.Equal(t, got, saved)
			}
		})
	}
}

func TestStart_TriesOnceIfThePortIsNotToBlame(t *testing.T) {
	dir := t.TempDir()
	release, err := Reserve(dir)
	require.NoError(t, err)
	defer release()
	tries := 0
	_, err = Start(t.Context(), dir, func(int) (int, error) {
		tries++
		return 0, errors.New("out of order")
	})
	require.EqualError(t, err, "out of order")
	require.Equal(t, 1, tries)
}
