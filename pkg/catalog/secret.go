package catalog

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"strings"

	"github.com/samsa-io/samsa/pkg/stream"
)

// The text of an access token is
//
//	samsa.<id>.<secret>.<checksum>
//
// with the token's public id and 256 random bits in base64url, and the CRC-32C
// of all before the last dot in hexadecimal. The checksum tells a mistyped or
// cut token without asking Postgres, and lets scanners of leaked secrets know
// one for sure. What is kept is the SHA-256 of the whole text.
const (
	secretPrefix = "samsa"
	secretBytes  = 32
	// maxSecretText bounds what is looked at: the longest id and some room.
	maxSecretText = 256
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encoding takes one text for each value, so that a token has one text.
func encoding() *base64.Encoding { return base64.RawURLEncoding.Strict() }

// newSecret makes the text of a token and its hash.
func newSecret(id string) (text string, hash [sha256.Size]byte) {
	var random [secretBytes]byte
	_, _ = rand.Read(random[:]) // never fails
	text = strings.Join([]string{secretPrefix, encoding().EncodeToString([]byte(id)), encoding().EncodeToString(random[:])}, ".")
	text += "." + checksum(text)
	return text, sha256.Sum256([]byte(text))
}

func checksum(text string) string {
	return fmt.Sprintf("%08x", crc32.Checksum([]byte(text), castagnoli))
}

// secretID reads the public id in the text of a token; false: it is no token.
func secretID(text string) (id string, ok bool) {
	if len(text) > maxSecretText {
		return "", false
	}
	end := strings.LastIndexByte(text, '.')
	if end < 0 || checksum(text[:end]) != text[end+1:] {
		return "", false
	}
	parts := strings.Split(text[:end], ".")
	if len(parts) != 3 || parts[0] != secretPrefix {
		return "", false
	}
	name, err := encoding().DecodeString(parts[1])
	if err != nil || stream.CheckAccessTokenID(string(name)) != nil {
		return "", false
	}
	random, err := encoding().DecodeString(parts[2])
	return string(name), err == nil && len(random) == secretBytes
}
