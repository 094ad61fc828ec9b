// Package compose drives a running compose.yaml from outside, through the edge.
// deploy/test-compose.sh brings the system up and then runs it; without the build
// tag compose there is nothing here.
package compose
