// Package postgres runs a PostgreSQL server as a child process, for `samsa dev`
// and for tests.
//
// The programs come from the machine (PATH and the folders that packages use) or
// are fetched. Under root, which PostgreSQL refuses to run under, initdb and the
// server run as an unprivileged user. The child never outlives its parent: on
// Linux the kernel tells it, elsewhere the next start ends it.
//
// In Options.Dir stand:
//
//	lock       held while a Server runs: there is one per folder
//	password   of the user "samsa", random
//	port       the last one, taken again if it is free, so that URLs stay valid
//	data       the database; a link to a folder elsewhere if the user that the
//	           server runs as cannot reach Dir, as below root's home
//	binaries   the programs, if they had to be fetched
package postgres
