package stream

// StorageClass says how soon an append is put.
type StorageClass uint8

// The storage classes, numbered as in the API.
const (
	StorageClassStandard StorageClass = 1
	StorageClassExpress  StorageClass = 2
)

// TimestampingMode says who decides a record's timestamp.
type TimestampingMode uint8

// The timestamping modes, numbered as in the API.
const (
	TimestampingClientPrefer  TimestampingMode = 1
	TimestampingClientRequire TimestampingMode = 2
	TimestampingArrival       TimestampingMode = 3
)

// Config is a stream's resolved configuration: nothing in it is inherited.
type Config struct {
	StorageClass          StorageClass
	TimestampingMode      TimestampingMode
	AllowFutureTimestamps bool
	RetentionSeconds      uint64 // 0: keep for ever
	DeleteOnEmptySeconds  uint64 // 0: never
}

// DefaultConfig is what a stream has where neither it nor its bucket says
// otherwise.
func DefaultConfig() Config {
	return Config{
		StorageClass:     StorageClassStandard,
		TimestampingMode: TimestampingClientPrefer,
		RetentionSeconds: 7 * 24 * 60 * 60,
	}
}
