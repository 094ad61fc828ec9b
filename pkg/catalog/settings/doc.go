// Package settings holds the settings of streams and buckets as people give
// them: with holes where something is to be inherited, and with masks that say
// what to change. It reads them from the API's messages, refusing values that
// mean nothing, and writes them back.
//
// A stream's settings are resolved when it is created: what the request gives,
// then the bucket's default, then the system's. From then on the stream has a
// stream.Config, in which nothing is inherited, and a bucket's default that
// changes later no longer touches it.
//
// # Masks
//
// A change touches the masked paths only; without a mask, or with an empty one,
// the fields that are set. A masked path that the message leaves out takes the
// setting away: on a bucket it is then inherited from the system, on a stream it
// becomes what a new stream of its bucket would get. Only an enum of a stream
// can't be taken away so: it has no way of being left out on the wire, so that
// UNSPECIFIED under a mask is more likely a slip than a wish, and is refused.
package settings
