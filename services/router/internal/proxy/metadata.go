package proxy

import (
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/samsa-io/samsa/pkg/rpc"
)

// passed is the metadata that goes on to the next hop: all but what belongs to
// one connection, which gRPC sets anew. The deadline travels in the context.
func passed(md metadata.MD) metadata.MD {
	out := make(metadata.MD, len(md))
	for key, values := range md {
		if !belongsToHop(key) {
			out[key] = values
		}
	}
	return out
}

// answered is passed for a response, to which the server adds the request's id.
func answered(md metadata.MD) metadata.MD {
	out := passed(md)
	delete(out, rpc.RequestIDKey)
	return out
}

func belongsToHop(key string) bool {
	switch key {
	case "connection", "content-length", "content-type", "date", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "user-agent":
		return true
	}
	return strings.HasPrefix(key, ":") || strings.HasPrefix(key, "grpc-") && key != "grpc-trace-bin"
}
