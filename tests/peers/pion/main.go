// A broadcast on the Pion library, as simply as its users write one: WHIP in, WHEP out.
//
// The library's own settings stay as they are, but for loopback, which it leaves out.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v3"
)

// How often the publisher is asked for a key frame, in place of listening to each viewer.
const keyFrameInterval = 2 * time.Second

type broadcast struct {
	api          *webrtc.API
	video, audio *webrtc.TrackLocalStaticRTP

	mutex sync.Mutex
	next  int
	peers map[string]*webrtc.PeerConnection
}

func main() {
	addr := flag.String("listen", "127.0.0.1:0", "where HTTP is served")
	flag.Parse()
	b, err := newBroadcast()
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/whip", b.create(b.publish))
	http.HandleFunc("/whep", b.create(b.play))
	http.HandleFunc("/sessions/", b.remove)
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("ready http=%s\n", listener.Addr())
	log.Fatal(http.Serve(listener, nil))
}

func newBroadcast() (*broadcast, error) {
	media := &webrtc.MediaEngine{}
	if err := media.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	interceptors := &interceptor.Registry{}
	if err := webrtc.RegisterDefaultInterceptors(media, interceptors); err != nil {
		return nil, err
	}
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	api := webrtc.NewAPI(
		webrtc.WithMediaEngine(media),
		webrtc.WithInterceptorRegistry(interceptors),
		webrtc.WithSettingEngine(settings),
	)
	h264 := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeH264}
	video, err := webrtc.NewTrackLocalStaticRTP(h264, "video", "broadcast")
	if err != nil {
		return nil, err
	}
	opus := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}
	audio, err := webrtc.NewTrackLocalStaticRTP(opus, "audio", "broadcast")
	if err != nil {
		return nil, err
	}
	peers := map[string]*webrtc.PeerConnection{}
	return &broadcast{api: api, video: video, audio: audio, peers: peers}, nil
}

// publish forwards everything that the peer sends.
func (b *broadcast) publish(peer *webrtc.PeerConnection) error {
	peer.OnTrack(func(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		local := b.audio
		if remote.Kind() == webrtc.RTPCodecTypeVideo {
			local = b.video
			go askForKeyFrames(peer, remote)
		}
		for {
			packet, _, err := remote.ReadRTP()
			if err != nil {
				return
			}
			// One viewer that is gone must not end it for the others.
			if err := local.WriteRTP(packet); err != nil && !errors.Is(err, io.ErrClosedPipe) {
				log.Print(err)
			}
		}
	})
	return nil
}

func askForKeyFrames(peer *webrtc.PeerConnection, remote *webrtc.TrackRemote) {
	pli := []rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(remote.SSRC())}}
	for peer.WriteRTCP(pli) == nil {
		time.Sleep(keyFrameInterval)
	}
}

// play sends the broadcast to the peer.
func (b *broadcast) play(peer *webrtc.PeerConnection) error {
	for _, track := range []*webrtc.TrackLocalStaticRTP{b.audio, b.video} {
		sender, err := peer.AddTrack(track)
		if err != nil {
			return err
		}
		// Reading is what makes the interceptors see NACKs.
		go func() {
			room := make([]byte, 1500)
			for {
				if _, _, err := sender.Read(room); err != nil {
					return
				}
			}
		}()
	}
	return nil
}

// create answers the offer of a new peer.
func (b *broadcast) create(prepare func(*webrtc.PeerConnection) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			http.Error(w, "POST an offer", http.StatusMethodNotAllowed)
			return
		}
		offer, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		peer, err := b.api.NewPeerConnection(webrtc.Configuration{})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		answer, err := negotiate(peer, prepare, string(offer))
		if err != nil {
			peer.Close()
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/sdp")
		w.Header().Set("Location", "/sessions/"+b.keep(peer))
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, answer)
	}
}

func negotiate(
	peer *webrtc.PeerConnection, prepare func(*webrtc.PeerConnection) error, offer string,
) (string, error) {
	if err := prepare(peer); err != nil {
		return "", err
	}
	remote := webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}
	if err := peer.SetRemoteDescription(remote); err != nil {
		return "", err
	}
	answer, err := peer.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(peer)
	if err := peer.SetLocalDescription(answer); err != nil {
		return "", err
	}
	<-gathered
	return peer.LocalDescription().SDP, nil
}

func (b *broadcast) keep(peer *webrtc.PeerConnection) string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	id := strconv.Itoa(b.next)
	b.next++
	b.peers[id] = peer
	return id
}

func (b *broadcast) remove(w http.ResponseWriter, r *http.Request) {
	id := strings.TrimPrefix(r.URL.Path, "/sessions/")
	b.mutex.Lock()
	peer := b.peers[id]
	delete(b.peers, id)
	b.mutex.Unlock()
	if r.Method != http.MethodDelete || peer == nil {
		http.NotFound(w, r)
		return
	}
	peer.Close()
}
