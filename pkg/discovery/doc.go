// Package discovery tells the programs of a cluster who is alive, where and in
// which zone. Each instance registers in etcd under a lease and keeps it alive;
// everybody else watches a role.
//
// No safety property rests on it: a member that is listed may be dead, one that
// is missing may live. So it is built to be useful when etcd is not:
//
//   - While etcd is down, Members keeps the last known members.
//   - When etcd is back, even empty, nobody is dropped before the living have
//     had a lease's time and a heartbeat to register again. Only a member that
//     said it leaves is dropped at once.
//   - A Registration never gives up until it is withdrawn: whatever etcd forgot,
//     it puts again.
//
// Keys are <prefix>/members/<role>/<instance>; values are JSON, so that etcdctl
// shows them and fields can be added.
package discovery
