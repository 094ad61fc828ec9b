package s3

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// extendedAttributes tells whether the file system keeps them; versitygw puts an
// object's metadata there if it can.
func extendedAttributes(folder string) bool {
	const name = "user.samsa"
	if err := unix.Setxattr(folder, name, []byte("1"), 0); err != nil {
		return false
	}
	return unix.Removexattr(folder, name) == nil
}
