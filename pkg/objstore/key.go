package objstore

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of keys: S3's own for the whole, the file systems' for a part.
const (
	MaxKeyBytes     = 1024
	MaxKeyPartBytes = 255
)

// CheckKey tells whether every store can hold key: UTF-8 without control
// characters, parts between slashes that are neither empty, nor too long, nor
// begin with a dot. Besides, no key may be the folder of another ("a" and
// "a/b"): S3 holds both, a file system cannot.
func CheckKey(key string) error {
	switch {
	case key == "":
		return fmt.Errorf("%w: it is empty", ErrInvalidKey)
	case len(key) > MaxKeyBytes:
		return fmt.Errorf("%w: %q… has %d bytes, want at most %d", ErrInvalidKey, key[:32], len(key), MaxKeyBytes)
	case !utf8.ValidString(key):
		return fmt.Errorf("%w: %q is not UTF-8", ErrInvalidKey, key)
	case strings.ContainsFunc(key, unprintable):
		return fmt.Errorf("%w: %q holds a control character or backslash", ErrInvalidKey, key)
	}
	for part := range strings.SplitSeq(key, "/") {
		if err := checkKeyPart(key, part); err != nil {
			return err
		}
	}
	return nil
}

func checkKeyPart(key, part string) error {
	switch {
	case part == "":
		return fmt.Errorf("%w: %q has an empty part", ErrInvalidKey, key)
	case part[0] == '.':
		return fmt.Errorf("%w: %q has a part that begins with a dot", ErrInvalidKey, key)
	case len(part) > MaxKeyPartBytes:
		return fmt.Errorf("%w: %q has a part of %d bytes, want at most %d", ErrInvalidKey, key, len(part), MaxKeyPartBytes)
	}
	return nil
}

// unprintable holds for what XML listings, URLs or file systems bend.
func unprintable(r rune) bool {
	return unicode.IsControl(r) || r == '\\' || r == '\uFFFE' || r == '\uFFFF'
}
