package discovery

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// The roles that instances register under.
const (
	RoleAccount      = "account"
	RoleBucket       = "bucket"
	RoleStreamWriter = "stream-writer"
	RoleStreamReader = "stream-reader"
	RoleCompactor    = "compactor"
	RoleRouter       = "router"
)

// Member is one instance of a role.
type Member struct {
	Role     string `json:"role"`
	Instance string `json:"instance"` // unique in its role and kept over restarts
	Address  string `json:"address"`  // host:port, or inproc:<name> within one process
	Zone     string `json:"zone,omitempty"`
	// Incarnation is a stream-writer's log; empty for other roles.
	Incarnation string `json:"incarnation,omitempty"`
	// Drained: the instance takes no work that another one can take.
	Drained bool      `json:"drained,omitempty"`
	Started time.Time `json:"started"`
}

func (m Member) check() error {
	return errors.Join(
		checkKeyPart("role", m.Role),
		checkKeyPart("instance", m.Instance),
		checkAddress(m.Address),
	)
}

func checkKeyPart(field, value string) error {
	if value == "" || strings.Contains(value, "/") {
		return fmt.Errorf("%s %q of a member: want a name without '/'", field, value)
	}
	return nil
}

func checkAddress(address string) error {
	if address == "" {
		return errors.New("address of a member is empty: want host:port or inproc:<name>")
	}
	return nil
}

// record is a member's value in etcd.
type record struct {
	Member
	// Leaving is put just before the key goes, so that watchers can tell a member
	// that withdrew from one whose lease ran out.
	Leaving bool `json:"leaving,omitempty"`
}

func (r record) encode() (string, error) {
	b, err := json.Marshal(r)
	return string(b), err
}

func decodeRecord(value []byte) (record, error) {
	var r record
	if err := json.Unmarshal(value, &r); err != nil {
		return record{}, err
	}
	return r, r.check()
}

// keys names where members stand in etcd.
type keys struct{ prefix string }

func (k keys) role(role string) string {
	return strings.TrimRight(k.prefix, "/") + "/members/" + role + "/"
}

func (k keys) member(m Member) string { return k.role(m.Role) + m.Instance }

// instanceOf is the last part of a member's key.
func instanceOf(key string) string { return key[strings.LastIndexByte(key, '/')+1:] }
