package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/qrand/qrypt"
)

// The kernel's random device, as Documentation/admin-guide/devices.txt numbers it.
const (
	devicePath  = "/dev/random"
	deviceMajor = 1
	deviceMinor = 8
)

// A device is the pool behind /dev/random. The calls are those of random(4) and
// of the kernel's drivers/char/random.c.
type device struct {
	fd   int
	info randPoolInfo // the only copy of a block that is made
}

// randPoolInfo is struct rand_pool_info of linux/random.h, with room for a block.
type randPoolInfo struct {
	entropyCount int32 // bits
	bufSize      int32 // bytes
	buf          [qrypt.BlockSize]byte
}

func openPool() (pool, error) { return openDevice(devicePath) }

// openDevice refuses any other file than the kernel's device: in a chroot a plain file may
// stand there, and would keep every block.
func openDevice(path string) (*device, error) {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "kernel: open", Path: path, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, &fs.PathError{Op: "kernel: stat", Path: path, Err: err}
	}
	rdev := uint64(st.Rdev)
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || unix.Major(rdev) != deviceMajor || unix.Minor(rdev) != deviceMinor {
		unix.Close(fd)
		return nil, fmt.Errorf("kernel: %s is not the kernel's random device (character device %d:%d): what is mounted there?", path, deviceMajor, deviceMinor)
	}
	return &device{fd: fd}, nil
}

// mix is write(2), which credits nothing.
func (d *device) mix(p []byte) error {
	for len(p) > 0 {
		n, err := unix.Write(d.fd, p)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return err
		case n == 0:
			return errors.New("the kernel accepted no byte")
		}
		p = p[n:]
	}
	return nil
}

// credit is RNDADDENTROPY.
func (d *device) credit(p []byte, bits int) error {
	if len(p) != len(d.info.buf) {
		return fmt.Errorf("kernel: a block has %d bytes, not %d", len(d.info.buf), len(p))
	}
	defer func() { d.info = randPoolInfo{} }()
	d.info.entropyCount, d.info.bufSize = int32(bits), int32(len(p))
	copy(d.info.buf[:], p)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d.fd), unix.RNDADDENTROPY, uintptr(unsafe.Pointer(&d.info)))
	return explain(errno)
}

// reseed is RNDRESEEDCRNG, of Linux 4.17 and later.
func (d *device) reseed() error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d.fd), unix.RNDRESEEDCRNG, 0)
	return explain(errno)
}

func (d *device) close() error { return unix.Close(d.fd) }

// explain returns the error of this package for one of the ioctl calls.
func explain(errno unix.Errno) error {
	switch errno {
	case 0:
		return nil
	case unix.EPERM, unix.EACCES:
		return ErrNotPermitted
	case unix.ENODATA:
		return ErrNotReady
	case unix.EINVAL, unix.ENOTTY, unix.ENOSYS:
		return ErrUnknownCall
	}
	return fmt.Errorf("kernel: %w", errno)
}
