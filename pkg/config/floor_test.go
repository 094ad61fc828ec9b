package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBelowFloor_NamesKeyValueAndRemedy(t *testing.T) {
	problems := BelowFloor("router", Floor{"a_ms", 0, 1}, Floor{"b_bytes", 5, 5}, Floor{"c", -3, 0})
	require.Equal(t, []Problem{
		{Key: "router.a_ms", Value: "0", What: "is less than 1", Remedy: "give a number from 1 up, or leave it out"},
		{Key: "router.c", Value: "-3", What: "is less than 0", Remedy: "give a number from 0 up, or leave it out"},
	}, problems)
}
