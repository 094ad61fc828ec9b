package auth

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// peek picks strings out of a message in wire format, by their paths of field
// numbers, leaving the rest of it unread. As in a whole decoding, of a field that
// is repeated the last counts. False: the message can't be read.
func peek(message []byte, paths [][]protoreflect.FieldNumber, found []string) bool {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return false
		}
		message = message[n:]
		n = protowire.ConsumeFieldValue(number, kind, message)
		if n < 0 {
			return false
		}
		for i, path := range paths {
			if len(path) == 0 || path[0] != number {
				continue
			}
			if kind != protowire.BytesType || !peekField(message[:n], path, &found[i]) {
				return false
			}
		}
		message = message[n:]
	}
	return true
}

func peekField(value []byte, path []protoreflect.FieldNumber, found *string) bool {
	content, n := protowire.ConsumeBytes(value)
	if n < 0 {
		return false
	}
	if len(path) == 1 {
		*found = string(content)
		return true
	}
	inner := []string{*found}
	ok := peek(content, [][]protoreflect.FieldNumber{path[1:]}, inner)
	*found = inner[0]
	return ok
}
