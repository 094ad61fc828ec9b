// Package objstoretest is the one suite that every object store and every wrapper
// around one passes.
package objstoretest
