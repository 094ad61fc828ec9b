// Package s3 runs a real S3 server, versitygw over a folder, on loopback: for the
// conformance suite, for the tests of split programs, and for development.
//
// The binary is the one that SAMSA_VERSITYGW names, else bin/versitygw at the
// repository's root, which is built from .ci/tools/s3 if it is not there. The
// server ends with the process that started it, however that ends.
package s3
