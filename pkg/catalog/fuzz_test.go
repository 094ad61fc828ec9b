package catalog

import "testing"

// FuzzParseAccessToken: only what is a token, with its checksum, is looked up.
func FuzzParseAccessToken(f *testing.F) {
	f.Add("samsa.AAAA.BBBB")
	f.Add("")
	f.Fuzz(func(t *testing.T, secret string) {
		if _, ok := ParseAccessToken(secret); ok && len(secret) < 40 {
			t.Fatalf("%q passes for a token of 256 random bits", secret)
		}
	})
}
