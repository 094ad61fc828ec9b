// Package limit bounds what each of many keys, such as access tokens or streams,
// may do: how much a second (Rates), and how much at a time (Places); and what all
// hold together (Room).
//
// A rate is a token bucket that holds one second's worth. A request may go if the
// bucket is not empty, and then pays in full, into debt if it must: so a batch that
// is larger than a second's worth passes, and pays with a longer wait. What a read
// brings is known only afterwards, and charged then.
//
// Memory is bounded: Rates remembers a fixed number of keys, and forgets the one
// that was not used for longest, which then has a full bucket again. Places
// remembers no key that holds nothing.
package limit
