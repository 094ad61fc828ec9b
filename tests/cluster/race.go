//go:build race

package cluster

// RaceEnabled tells whether the programs have the race detector.
const RaceEnabled = true
