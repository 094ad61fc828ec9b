//go:build !linux

package s3

import "syscall"

// dieWithParent: elsewhere only Stop ends the server.
func dieWithParent() *syscall.SysProcAttr { return nil }

func extendedAttributes(string) bool { return false }
