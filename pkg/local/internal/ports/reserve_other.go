//go:build !linux

package ports

// Reserve does nothing here: elsewhere a bound port cannot be listened on.
func Reserve(string) (release func(), err error) { return func() {}, nil }
