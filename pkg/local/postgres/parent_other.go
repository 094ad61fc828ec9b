//go:build unix && !linux

package postgres

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// endWithParent can do nothing here: a server that outlives a killed parent is
// ended by the next start.
func endWithParent(*syscall.SysProcAttr) {}

// runs tells whether process pid is a server on data.
func runs(pid int, data string) bool {
	args, err := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.Contains(string(args), "-D "+data+" ")
}
