package objstore

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
)

// Config says which store to open. It is a part of the section [storage].
type Config struct {
	// URL: s3://bucket/prefix, file:///folder or mem:// (gone with the process).
	URL string `koanf:"url"`
	// S3 is for s3:// alone.
	S3 S3Config `koanf:"s3"`
}

// S3Config says how to reach S3 or a server like it.
type S3Config struct {
	// Endpoint: "" for AWS, else http://host:port or https://host:port.
	Endpoint string `koanf:"endpoint"`
	// Region: "" takes it from the environment, as AWS's own tools do, and is
	// us-east-1 for an endpoint if there is none either.
	Region string `koanf:"region"`
	// PathStyle asks for endpoint/bucket/key instead of bucket.endpoint/key.
	PathStyle bool `koanf:"path_style"`
	// AccessKeyID and SecretAccessKey: both "" for AWS's usual chain
	// (environment, shared files, instance or pod role).
	AccessKeyID     string `koanf:"access_key_id"`
	SecretAccessKey string `koanf:"secret_access_key"`
	// CAFile holds, in PEM, the CAs that an https endpoint's certificate is checked
	// with: "" for the system's.
	CAFile string `koanf:"ca_file"`
}

// Default is the S3 server of compose.yaml. It has neither keys nor a region: with an
// endpoint of "" they would go to AWS, in place of what its own chain finds.
func Default() Config {
	return Config{URL: "s3://samsa", S3: S3Config{Endpoint: "http://localhost:7070", PathStyle: true}}
}

// Validate names every problem, each with its key below [storage], the value and
// the remedy.
func (c Config) Validate() error {
	target, err := parseURL(c.URL)
	if err != nil {
		return err
	}
	if target.scheme != "s3" {
		return nil
	}
	return c.S3.validate()
}

func (c S3Config) validate() error {
	var problems []error
	if c.Endpoint != "" {
		if u, err := url.Parse(c.Endpoint); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			problems = append(problems, fmt.Errorf(
				`storage.s3.endpoint = %q is no address: give http://host:port or https://host:port, or "" for AWS`, c.Endpoint))
		}
	}
	if (c.AccessKeyID == "") != (c.SecretAccessKey == "") {
		problems = append(problems, fmt.Errorf(
			"storage.s3.access_key_id = %q and storage.s3.secret_access_key (%d characters): give both, or neither to use AWS's usual chain",
			c.AccessKeyID, len(c.SecretAccessKey)))
	}
	return errors.Join(problems...)
}

// target is a store's URL, taken apart.
type target struct {
	scheme string
	bucket string // s3
	prefix string // s3: "" or with a slash at its end
	folder string // file: absolute
}

func parseURL(raw string) (target, error) {
	scheme, rest, _ := strings.Cut(raw, "://")
	switch scheme {
	case "mem":
		return target{scheme: scheme}, nil
	case "file":
		return parseFileURL(raw, rest)
	case "s3":
		return parseS3URL(raw, rest)
	}
	return target{}, fmt.Errorf("storage.url = %q: give s3://bucket/prefix, file:///folder or mem://", raw)
}

func parseFileURL(raw, folder string) (target, error) {
	if !filepath.IsAbs(folder) || filepath.Clean(folder) == "/" {
		return target{}, fmt.Errorf("storage.url = %q: give a folder by its whole path, such as file:///var/lib/samsa", raw)
	}
	return target{scheme: "file", folder: filepath.Clean(folder)}, nil
}

func parseS3URL(raw, rest string) (target, error) {
	bucket, prefix, _ := strings.Cut(rest, "/")
	if bucket == "" || strings.ContainsAny(bucket, "?#@: ") {
		return target{}, fmt.Errorf("storage.url = %q: give the bucket's name, such as s3://samsa or s3://samsa/prefix", raw)
	}
	if strings.HasSuffix(bucket, "--x-s3") {
		return target{}, fmt.Errorf("storage.url = %q: %q is a directory bucket (S3 Express One Zone), which lists objects in an order of its own: give one for general purposes", raw, bucket)
	}
	prefix = strings.Trim(prefix, "/")
	if prefix == "" {
		return target{scheme: "s3", bucket: bucket}, nil
	}
	if err := CheckKey(prefix); err != nil {
		return target{}, fmt.Errorf("storage.url = %q: the prefix is no key: %w", raw, err)
	}
	return target{scheme: "s3", bucket: bucket, prefix: prefix + "/"}, nil
}
