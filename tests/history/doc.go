// Package history records what clients asked of a stream and what they were told,
// and checks that one order of all that explains it (linearizability), with
// porcupine.
//
// The model's state is a stream's tail, the chained hash of its content, its
// fencing token and its trim point. Every read is compared with the content, so
// each of them checks the whole prefix that it covers. An append whose outcome is
// unknown may take effect at any time after its call, or never.
//
// A history is of one stream and is to end with a read of all that is left, begun
// after every other call has returned or was given up: what no read ever saw and
// no gap in the sequence has room for did not happen before that read.
package history
