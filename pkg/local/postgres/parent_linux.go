package postgres

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
)

// endWithParent has the kernel end the child, with an immediate shutdown, when
// we die in whatever way.
func endWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGQUIT }

// runs tells whether process pid is a server on data.
func runs(pid int, data string) bool {
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && bytes.Contains(args, []byte("\x00"+data+"\x00"))
}
