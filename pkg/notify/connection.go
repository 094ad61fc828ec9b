package notify

import "github.com/nats-io/nats.go"

// watchConnection tells every subscriber of a gap when the connection is back.
// Logging what becomes of the connection is up to whoever made it.
func (b *Bus) watchConnection() {
	changes := b.conn.StatusChanged(nats.CONNECTED, nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	defer b.conn.RemoveStatusListener(changes)
	for {
		b.metrics.setConnected(b.conn.IsConnected())
		select {
		case <-b.stop:
			return
		case status, open := <-changes:
			if !open {
				return
			}
			if status == nats.CONNECTED {
				b.gapEverywhere()
			}
		}
	}
}

func (b *Bus) gapEverywhere() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.subscriptions {
		s.gap()
	}
}
