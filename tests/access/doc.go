// Package access tests who gets in, and how far, in the split system as it is to be
// run: real programs that ask for access tokens, know each other by certificates and
// show one to clients.
package access
