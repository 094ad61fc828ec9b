// Package storetime tells a time that is not later than the writer's clock nor than
// the object store's. Records and streams end for good when they are old enough, so
// a single clock that is fast must not be enough to end them.
package storetime
