package objstore

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"
	"syscall"
)

// List implements [Store]. It reads one folder at a time.
func (f *File) List(ctx context.Context, prefix, startAfter string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		l := lister{File: f, ctx: ctx, prefix: prefix, startAfter: startAfter, yield: yield}
		err := errors.Join(ctx.Err(), f.latch.err())
		if err == nil {
			_, err = l.walk(folderOf(prefix))
		}
		if err != nil {
			yield(Info{}, opError(OpList, prefix, err))
		}
	}
}

// folderOf is the deepest folder that holds all keys with the prefix.
func folderOf(prefix string) string {
	folder, _, ok := cutLast(prefix)
	if !ok || CheckKey(folder) != nil {
		return "." // where nothing will match
	}
	return folder
}

func cutLast(key string) (before, after string, ok bool) {
	i := strings.LastIndexByte(key, '/')
	if i < 0 {
		return "", key, false
	}
	return key[:i], key[i+1:], true
}

type lister struct {
	*File
	ctx                context.Context
	prefix, startAfter string
	yield              func(Info, error) bool
}

// walk yields the keys below folder; more is false when the caller has enough.
func (l lister) walk(folder string) (more bool, err error) {
	if err := l.ctx.Err(); err != nil {
		return false, err
	}
	entries, err := l.readDir(folder)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	for _, e := range sortedByKey(entries) {
		key := path.Join(folder, e.name)
		if !l.wanted(key, e.isFolder) {
			continue
		}
		if more, err := l.visit(key, e.isFolder); err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

func (l lister) visit(key string, isFolder bool) (more bool, err error) {
	if isFolder {
		return l.walk(key)
	}
	in, info, err := l.look(l.ctx, key)
	if isNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if err := in.Close(); err != nil {
		return false, err
	}
	return l.yield(info, nil), nil
}

// wanted tells whether key, or any key in the folder of that name, is asked for.
func (l lister) wanted(key string, isFolder bool) bool {
	if !isFolder {
		return strings.HasPrefix(key, l.prefix) && key > l.startAfter
	}
	inside := key + "/"
	if !strings.HasPrefix(inside, l.prefix) && !strings.HasPrefix(l.prefix, inside) {
		return false
	}
	return inside > l.startAfter || strings.HasPrefix(l.startAfter, inside)
}

type listed struct {
	name     string
	isFolder bool
}

// key is what the name contributes to the order: all keys in a folder have a
// slash after its name.
func (l listed) key() string {
	if l.isFolder {
		return l.name + "/"
	}
	return l.name
}

func sortedByKey(entries []fs.DirEntry) []listed {
	all := make([]listed, 0, len(entries))
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		all = append(all, listed{entry.Name(), entry.IsDir()})
	}
	slices.SortFunc(all, func(a, b listed) int { return strings.Compare(a.key(), b.key()) })
	return all
}
