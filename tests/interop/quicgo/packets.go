// A UDP socket that tells what comes: it counts Retry packets, and can be deaf.  quic-go finds no more
// than a net.PacketConn here; a plain *net.UDPConn it uses with GSO and ECN.
package main

import (
	"net"
	"sync"
	"sync/atomic"
)

// A long header's form, fixed bit and type Retry (RFC 9000, 17.2.5).
const retryBits = 0xF0

type packets struct {
	net.PacketConn
	retries   atomic.Int64
	isDeaf    bool
	heard     chan struct{} // closed when the first packet came
	heardOnce sync.Once
}

func listenUDP(source string) (*net.UDPConn, error) {
	return net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(source)})
}

func watchPackets(source string, isDeaf bool) (*packets, error) {
	conn, err := listenUDP(source)
	if err != nil {
		return nil, err
	}
	return &packets{PacketConn: conn, isDeaf: isDeaf, heard: make(chan struct{})}, nil
}

func (p *packets) ReadFrom(out []byte) (int, net.Addr, error) {
	for {
		n, from, err := p.PacketConn.ReadFrom(out)
		if err != nil {
			return n, from, err
		}
		if n > 0 && out[0]&retryBits == retryBits {
			p.retries.Add(1)
		}
		p.heardOnce.Do(func() { close(p.heard) })
		if !p.isDeaf {
			return n, from, nil
		}
	}
}
