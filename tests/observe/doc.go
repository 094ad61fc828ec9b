// Package observe checks what the running system tells about itself: that each
// program's metrics keep the conventions and move with the work, and that one
// append's spans make one chain from the router to the reader's delivery; and that the
// guide's permissions are what each role needs at the object store.
package observe
