package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/samsa-io/samsa/pkg/client"
)

// A record as JSON: seq_num, seq_id, timestamp, headers and body. Bytes that are
// not UTF-8 stand in a field of the same name with _base64 behind it.

// appendJSON appends a record as an object and a newline.
func appendJSON(dst []byte, r client.Record) []byte {
	dst = append(dst, `{"seq_num":`...)
	dst = strconv.AppendUint(dst, r.SeqNum, 10)
	dst = append(dst, `,"seq_id":"`...)
	dst = r.SeqID.AppendText(dst)
	dst = append(dst, `","timestamp":`...)
	dst = strconv.AppendUint(dst, r.Timestamp, 10)
	if len(r.Headers) > 0 {
		dst = append(dst, `,"headers":[`...)
		for i, h := range r.Headers {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendBytesField(append(dst, '{'), "name", h.Name)
			dst = append(appendBytesField(append(dst, ','), "value", h.Value), '}')
		}
		dst = append(dst, ']')
	}
	dst = appendBytesField(append(dst, ','), "body", r.Body)
	return append(dst, "}\n"...)
}

func appendBytesField(dst []byte, name string, b []byte) []byte {
	dst = append(append(dst, '"'), name...)
	if !utf8.Valid(b) {
		dst = append(dst, `_base64":"`...)
		return append(base64.StdEncoding.AppendEncode(dst, b), '"')
	}
	return appendQuoted(append(dst, `":`...), b)
}

// appendQuoted appends valid UTF-8 as a JSON string.
func appendQuoted(dst, b []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	plain := 0
	for i, c := range b {
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, b[plain:i]...)
		plain = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\r':
			dst = append(dst, '\\', 'r')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		}
	}
	return append(append(dst, b[plain:]...), '"')
}

// recordInput is a line of `append --format json`. What the server gives is
// ignored, so that the output of `read` can go in again.
type recordInput struct {
	SeqNum     json.RawMessage `json:"seq_num"`
	SeqID      json.RawMessage `json:"seq_id"`
	Timestamp  *uint64         `json:"timestamp"`
	Headers    []headerInput   `json:"headers"`
	Body       *string         `json:"body"`
	BodyBase64 *[]byte         `json:"body_base64"`
}

type headerInput struct {
	Name        *string `json:"name"`
	NameBase64  *[]byte `json:"name_base64"`
	Value       *string `json:"value"`
	ValueBase64 *[]byte `json:"value_base64"`
}

// parseRecord reads a line. What it does not say is the template's.
func parseRecord(line []byte, template client.AppendRecord) (client.AppendRecord, error) {
	var in recordInput
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&in); err != nil {
		return template, fmt.Errorf("%w: want a JSON object with body, headers, timestamp: %w", errLine, err)
	}
	if decoder.More() {
		return template, fmt.Errorf("%w: more than one JSON value", errLine)
	}
	r := client.AppendRecord{Timestamp: template.Timestamp, Headers: template.Headers}
	if in.Timestamp != nil {
		r.Timestamp = in.Timestamp
	}
	var err error
	if r.Body, err = eitherOf("body", in.Body, in.BodyBase64); err != nil {
		return r, err
	}
	for _, h := range in.Headers {
		var header client.Header
		if header.Name, err = eitherOf("name", h.Name, h.NameBase64); err != nil {
			return r, err
		}
		if header.Value, err = eitherOf("value", h.Value, h.ValueBase64); err != nil {
			return r, err
		}
		r.Headers = append(r.Headers[:len(r.Headers):len(r.Headers)], header)
	}
	return r, nil
}

func eitherOf(name string, text *string, raw *[]byte) ([]byte, error) {
	switch {
	case text != nil && raw != nil:
		return nil, fmt.Errorf("%w: both %s and %s_base64", errLine, name, name)
	case raw != nil:
		return *raw, nil
	case text != nil:
		return []byte(*text), nil
	}
	return nil, nil
}
