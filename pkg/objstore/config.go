package objstore

import (
	"net/url"
	"path/filepath"
	"strings"

	"github.com/samsa-io/samsa/pkg/config"
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

// Validate returns every problem. What only S3 needs is looked at unless the URL names
// another kind of store.
func (c Config) Validate() []config.Problem {
	target, problem := parseURL(c.URL)
	var problems []config.Problem
	if problem != nil {
		problems = append(problems, *problem)
	}
	if target.scheme == "file" || target.scheme == "mem" {
		return problems
	}
	return append(problems, c.S3.validate()...)
}

func (c S3Config) validate() []config.Problem {
	var problems []config.Problem
	if c.Endpoint != "" {
		if u, err := url.Parse(c.Endpoint); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			problems = append(problems, config.Problem{
				Key: "storage.s3.endpoint", Value: c.Endpoint, What: "is no address",
				Remedy: `give http://host:port or https://host:port, or "" for AWS`,
			})
		}
	}
	if (c.AccessKeyID == "") != (c.SecretAccessKey == "") {
		missing, present := "access_key_id", "secret_access_key"
		if c.SecretAccessKey == "" {
			missing, present = present, missing
		}
		problems = append(problems, config.Problem{
			Key: "storage.s3." + missing, What: "is empty, although storage.s3." + present + " is not",
			Remedy: "give both, or neither to use AWS's usual chain",
		})
	}
	return problems
}

// target is a store's URL, taken apart.
type target struct {
	scheme string // also of a URL that is a problem, if it is known
	bucket string // s3
	prefix string // s3: "" or with a slash at its end
	folder string // file: absolute
}

func parseURL(raw string) (target, *config.Problem) {
	scheme, rest, _ := strings.Cut(raw, "://")
	switch scheme {
	case "mem":
		return target{scheme: scheme}, nil
	case "file":
		return parseFileURL(raw, rest)
	case "s3":
		return parseS3URL(raw, rest)
	}
	return target{}, badURL(raw, "names no store", "give s3://bucket/prefix, file:///folder or mem://")
}

func badURL(raw, what, remedy string) *config.Problem {
	return &config.Problem{Key: "storage.url", Value: raw, What: what, Remedy: remedy}
}

func parseFileURL(raw, folder string) (target, *config.Problem) {
	t := target{scheme: "file", folder: filepath.Clean(folder)}
	if !filepath.IsAbs(folder) || t.folder == "/" {
		return t, badURL(raw, "names no folder", "give a folder by its whole path, such as file:///var/lib/samsa")
	}
	return t, nil
}

func parseS3URL(raw, rest string) (target, *config.Problem) {
	bucket, prefix, _ := strings.Cut(rest, "/")
	t := target{scheme: "s3", bucket: bucket}
	if bucket == "" || strings.ContainsAny(bucket, "?#@: ") {
		return t, badURL(raw, "names no bucket", "give the bucket's name, such as s3://samsa or s3://samsa/prefix")
	}
	if strings.HasSuffix(bucket, "--x-s3") {
		return t, badURL(raw, "names a directory bucket (S3 Express One Zone), which lists objects in an order of its own", "give one for general purposes")
	}
	if prefix = strings.Trim(prefix, "/"); prefix == "" {
		return t, nil
	}
	if err := CheckKey(prefix); err != nil {
		return t, badURL(raw, "has a prefix that is no key: "+err.Error(), "give one such as s3://samsa/prefix")
	}
	t.prefix = prefix + "/"
	return t, nil
}
