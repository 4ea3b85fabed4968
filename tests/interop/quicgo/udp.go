// UDP sessions: UDP_OPEN and UDP_CLOSE on the control stream, datagrams beside it.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

var proxyV2Signature = []byte("\r\n\r\n\x00\r\nQUIT\n")

const (
	proxyV2         = 0x21 // version 2, PROXY
	proxyUDP4       = 0x12
	proxyAddrsBytes = 12
)

func (e *edge) noteUDPClose(payload []byte) {
	if len(payload) < 4 {
		return
	}
	e.mu.Lock()
	e.closed[binary.BigEndian.Uint32(payload)] = payload[4:]
	e.mu.Unlock()
}

func (e *edge) openUDP(session uint32, port int) error {
	out := binary.BigEndian.AppendUint32(nil, session)
	out = append(out, proxyV2Signature...)
	out = append(out, proxyV2, proxyUDP4, 0, proxyAddrsBytes)
	out = append(out, net.IPv4(192, 0, 2, 7).To4()...)
	out = append(out, net.IPv4(127, 0, 0, 1).To4()...)
	out = binary.BigEndian.AppendUint16(out, 40000)
	out = binary.BigEndian.AppendUint16(out, uint16(port))
	return e.send(msgUDPOpen, out)
}

func datagram(session uint32, payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, session), payload...)
}

// udpEcho sends datagrams one at a time until each came back, which UDP does not promise: a lost one is
// sent again after a while that the context's deadline bounds.
func udpEcho(ctx context.Context, t token, o options) (any, error) {
	e, err := dial(ctx, t, dialOptions{instance: "udp"})
	if err != nil {
		return nil, err
	}
	defer e.leave()
	const session = 1
	if err = e.openUDP(session, o.port); err != nil {
		return nil, err
	}
	random := rand.New(rand.NewPCG(1, 2))
	sent, resent := 0, 0
	for _, size := range []int{1, 64, 512, 1000, 1150} {
		want := make([]byte, size)
		for i := range want {
			want[i] = byte(random.Uint32())
		}
		tries, err := e.echoDatagram(ctx, datagram(session, want))
		if err != nil {
			return nil, fmt.Errorf("a datagram of %d bytes: %w", size, err)
		}
		sent++
		resent += tries - 1
	}
	return map[string]any{"echoed": sent, "resent": resent}, nil
}

func (e *edge) echoDatagram(ctx context.Context, want []byte) (tries int, err error) {
	for ; tries < 5; tries++ {
		if err = e.conn.SendDatagram(want); err != nil {
			return tries, err
		}
		once, cancel := context.WithTimeout(ctx, retransmitAfter)
		for err == nil {
			var got []byte
			if got, err = e.conn.ReceiveDatagram(once); err == nil && bytes.Equal(got, want) {
				cancel()
				return tries + 1, nil
			}
		}
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			return tries, err
		}
	}
	return tries, errors.New("it never came back")
}

// udpRefused opens a UDP session that the hub must close, and says with which bytes.
func udpRefused(ctx context.Context, t token, o options) (any, error) {
	e, err := dial(ctx, t, dialOptions{instance: "udp"})
	if err != nil {
		return nil, err
	}
	defer e.leave()
	if err = e.openUDP(1, o.port); err != nil {
		return nil, err
	}
	var code []byte
	err = e.wait(ctx, "UDP_CLOSE", func() bool {
		var is bool
		code, is = e.closed[1]
		return is
	})
	return map[string]any{"code": fmt.Sprintf("%x", code)}, err
}
