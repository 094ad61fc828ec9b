// Package quota holds the holder of each access token to its limits: requests,
// records and bytes a second, sessions and streams at a time.
//
// It is a router's share: each router counts by itself, so a token may do as much at
// each of them. Counting together would cost a call to somewhere on every append.
//
// What is one request is refused when a rate is exceeded, with a hint when to try
// again. Sessions are slowed down instead: an append session is not read on, a read
// session not sent to, until the rate allows it.
package quota
