package frame

import "github.com/samsa-io/samsa/pkg/stream"

// idText is the length of a seq_id as text.
const idText = 36

const hexDigits = "0123456789abcdef"

// appendID appends the text of a seq_id; it is stream.SeqID.AppendText, faster.
func appendID(dst []byte, id stream.SeqID) []byte {
	n := len(dst)
	dst = append(dst, "00000000-0000-0000-0000-000000000000"...)
	out := (*[idText]byte)(dst[n:])
	pair(out, 0, id[0])
	pair(out, 2, id[1])
	pair(out, 4, id[2])
	pair(out, 6, id[3])
	pair(out, 9, id[4])
	pair(out, 11, id[5])
	pair(out, 14, id[6])
	pair(out, 16, id[7])
	pair(out, 19, id[8])
	pair(out, 21, id[9])
	pair(out, 24, id[10])
	pair(out, 26, id[11])
	pair(out, 28, id[12])
	pair(out, 30, id[13])
	pair(out, 32, id[14])
	pair(out, 34, id[15])
	return dst
}

func pair(out *[idText]byte, at int, b byte) {
	out[at], out[at+1] = hexDigits[b>>4], hexDigits[b&15]
}
