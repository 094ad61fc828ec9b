// Package logindex finds records: in memory, and from the object store alone.
//
//   - Index remembers where the newest blocks of every stream stand. It is fed
//     with the sections of footers in slot order and stays within a number of
//     bytes by forgetting the oldest slots. A stream-writer answers Locate from it.
//   - Blocks fetches, checks and caches the blocks themselves.
//   - Locator finds older blocks in chain entries, state objects and footers.
//
// # What is trusted
//
// Objects are immutable, so whatever was once read may be cached for ever: only
// "does not exist" may change. Every byte that leaves this package has passed its
// checksum; what fails it, or is missing below the end of a log, is a *DamageError
// and is never served.
package logindex
