// Package faulty wraps an object store with the faults that stores and networks
// have, for tests: calls that fail, puts that land though their reply is lost,
// puts that land late, conflicts, overload, slowness, bodies cut short and bits
// flipped.
//
// Faults come from a script ([Store.Add]: the nth call that matches) or, for long
// random runs, from a seed ([Seeded]). A put that is late is held until
// [Store.Land], or until later calls let it through in a seeded run; the wrapper
// starts no goroutine and reads no clock but to be slow.
package faulty
