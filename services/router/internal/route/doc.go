// Package route decides where a call goes. It knows every RPC of samsa.v1, from
// the descriptors, and one rule for each: which service answers it, and whether
// it changes anything. An RPC without a rule is a mistake that NewTable reports;
// a method that is not in the table does not exist.
//
// Routing reads no more of a request than the two fields that name the stream.
package route
