// Package segment is the bytes of every object that Samsa puts.
package segment
