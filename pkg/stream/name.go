package stream

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of names.
const (
	MinBucketNameBytes    = 3
	MaxBucketNameBytes    = 63
	MaxStreamNameBytes    = 512
	MaxAccessTokenIDBytes = 96
)

// CheckBucketName tells what is wrong with a bucket's name.
func CheckBucketName(name string) error {
	if len(name) < MinBucketNameBytes || len(name) > MaxBucketNameBytes {
		return fmt.Errorf("bucket name %q has %d bytes: want %d to %d",
			clip(name), len(name), MinBucketNameBytes, MaxBucketNameBytes)
	}
	for i := range len(name) {
		if c := name[i]; !isAlphanumeric(c) && c != '-' {
			return fmt.Errorf("bucket name %q: want only a-z, 0-9 and '-'", name)
		}
	}
	if !isAlphanumeric(name[0]) || !isAlphanumeric(name[len(name)-1]) {
		return fmt.Errorf("bucket name %q: want a letter or digit at both ends", name)
	}
	return nil
}

func isAlphanumeric(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

// CheckStreamName tells what is wrong with a stream's name.
func CheckStreamName(name string) error {
	switch {
	case name == "":
		return errors.New("stream name is empty: want 1 to 512 bytes")
	case len(name) > MaxStreamNameBytes:
		return fmt.Errorf("stream name %q has %d bytes: want at most %d", clip(name), len(name), MaxStreamNameBytes)
	case !utf8.ValidString(name):
		return fmt.Errorf("stream name %q is not UTF-8", clip(name))
	case strings.ContainsRune(name, 0):
		return fmt.Errorf("stream name %q contains a NUL", clip(name))
	case name == "." || name == "..":
		return fmt.Errorf("stream name %q: '.' and '..' are not allowed", name)
	}
	return nil
}

// CheckAccessTokenID tells what is wrong with an access token's id.
func CheckAccessTokenID(id string) error {
	switch {
	case id == "":
		return errors.New("access token id is empty: want 1 to 96 bytes")
	case len(id) > MaxAccessTokenIDBytes:
		return fmt.Errorf("access token id %q has %d bytes: want at most %d", clip(id), len(id), MaxAccessTokenIDBytes)
	case !utf8.ValidString(id) || strings.ContainsRune(id, 0):
		return fmt.Errorf("access token id %q: want UTF-8 without NUL", clip(id))
	}
	return nil
}
