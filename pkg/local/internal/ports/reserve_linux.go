package ports

import (
	"errors"
	"os"
	"syscall"
)

// Reserve takes a free port for tests and saves it in dir, for a server that is
// started and stopped there again and again. Until release the kernel gives the
// port to nobody who asks for any port, while whoever names it can listen: the
// socket here is bound, but never listens, and both have SO_REUSEADDR. While no
// server listens, connections are refused.
func Reserve(dir string) (release func(), err error) {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	port, err := bind(socket)
	if err == nil {
		err = Save(dir, port)
	}
	if err != nil {
		return nil, errors.Join(err, syscall.Close(socket))
	}
	return func() { _ = syscall.Close(socket) }, nil
}

func bind(socket int) (port int, err error) {
	if err = syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return 0, os.NewSyscallError("setsockopt", err)
	}
	if err = syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, os.NewSyscallError("bind", err)
	}
	name, err := syscall.Getsockname(socket)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	return name.(*syscall.SockaddrInet4).Port, nil
}
