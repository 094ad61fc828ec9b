package objstore_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/objstore"
)

func TestConfig_DefaultIsValid(t *testing.T) { require.NoError(t, objstore.Default().Validate()) }

// Whoever empties the endpoint means AWS, which is to be asked with the keys and in the
// region of the machine's own role.
func TestConfig_DefaultHasNoKeysForAWS(t *testing.T) {
	c := objstore.Default()
	c.S3.Endpoint = ""
	require.NoError(t, c.Validate())
	require.Empty(t, c.S3.Region+c.S3.AccessKeyID+c.S3.SecretAccessKey)
}

func TestConfig_Validate(t *testing.T) {
	for _, url := range []string{"mem://", "file:///var/lib/samsa", "s3://bucket", "s3://bucket/", "s3://bucket/a/prefix/"} {
		require.NoError(t, objstore.Config{URL: url}.Validate(), url)
	}
	for _, url := range []string{"", "bucket", "http://host/bucket", "file://", "file:///", "file://folder", "file:///..", "s3://", "s3:///prefix", "s3://key:secret@bucket", "s3://b/../c", "s3://samsa--use1-az4--x-s3"} {
		err := objstore.Config{URL: url}.Validate()
		require.ErrorContains(t, err, "storage.url = ", url)
		_, err = objstore.Open(t.Context(), objstore.Config{URL: url})
		require.Error(t, err)
	}
}

func TestConfig_NamesAllProblemsAtOnce(t *testing.T) {
	err := objstore.Config{URL: "s3://bucket", S3: objstore.S3Config{Endpoint: "localhost:7070", SecretAccessKey: "hunter2"}}.Validate()
	require.ErrorContains(t, err, `storage.s3.endpoint = "localhost:7070"`)
	require.ErrorContains(t, err, `storage.s3.access_key_id = ""`)
	require.NotContains(t, err.Error(), "hunter2")
	require.ErrorContains(t, objstore.Config{URL: "nfs://host"}.Validate(), "give s3://bucket/prefix, file:///folder or mem://")
}
