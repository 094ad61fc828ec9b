// Package failpoint lets tests kill a program at a chosen step of what it does.
//
// Only programs built with -tags failpoint can be killed; in all others the calls
// are nothing. Such a program ends itself with SIGKILL when it comes to the point
// that its environment names:
//
//	SAMSA_TEST_FAILPOINT=chain-put.after      the first time
//	SAMSA_TEST_FAILPOINT=chain-put.after:3    the third time
//
// Every step has a point before it and one after it. tests/crash kills a real
// process at every point in All, so a new Step is tested by being listed.
package failpoint
