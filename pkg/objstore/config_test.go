package objstore_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/objstore"
)

func TestConfig_DefaultIsValid(t *testing.T) { require.Empty(t, objstore.Default().Validate()) }

// Whoever empties the endpoint means AWS, which is to be asked with the keys and in the
// region of the machine's own role.
func TestConfig_DefaultHasNoKeysForAWS(t *testing.T) {
	c := objstore.Default()
	c.S3.Endpoint = ""
	require.Empty(t, c.Validate())
	require.Empty(t, c.S3.Region+c.S3.AccessKeyID+c.S3.SecretAccessKey)
}

func TestConfig_Validate(t *testing.T) {
	for _, url := range []string{"mem://", "file:///var/lib/samsa", "s3://bucket", "s3://bucket/", "s3://bucket/a/prefix/"} {
		require.Empty(t, objstore.Config{URL: url}.Validate(), url)
	}
	for _, url := range []string{"", "bucket", "http://host/bucket", "file://", "file:///", "file://folder", "file:///..", "s3://", "s3:///prefix", "s3://key:secret@bucket", "s3://b/../c", "s3://samsa--use1-az4--x-s3"} {
		problems := objstore.Config{URL: url}.Validate()
		require.Len(t, problems, 1, url)
		require.Equal(t, "storage.url", problems[0].Key)
		require.Equal(t, url, problems[0].Value)
		require.NotEmpty(t, problems[0].Remedy, url)
		_, err := objstore.Open(t.Context(), objstore.Config{URL: url})
		require.ErrorContains(t, err, "storage.url", url)
	}
}

func TestConfig_NamesAllProblemsAtOnce(t *testing.T) {
	bad := objstore.Config{URL: "nfs://host", S3: objstore.S3Config{Endpoint: "localhost:7070", SecretAccessKey: "hunter2"}}
	_, err := objstore.Open(t.Context(), bad)
	for _, want := range []string{
		`storage.url = "nfs://host": names no store; give s3://bucket/prefix, file:///folder or mem://`,
		`storage.s3.endpoint = "localhost:7070"`, "storage.s3.access_key_id: is empty",
	} {
		require.ErrorContains(t, err, want)
	}
	require.NotContains(t, err.Error(), "hunter2")
	bad.URL = "file://here"
	require.Len(t, bad.Validate(), 1, "what S3 needs is nothing to a store of files")
	bad.URL = "mem://"
	require.Empty(t, bad.Validate())
}
