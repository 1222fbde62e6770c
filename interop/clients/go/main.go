// Go's x/crypto/ssh, driven over standard input: see interop/program.py for the commands.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

var (
	client    *ssh.Client
	listeners = map[string]net.Listener{}
)

func relay(channel, local net.Conn) {
	back := make(chan struct{})
	go func() {
		io.Copy(local, channel)
		local.(*net.TCPConn).CloseWrite()
		close(back)
	}()
	io.Copy(channel, local)
	channel.(interface{ CloseWrite() error }).CloseWrite()
	<-back
	channel.Close()
	local.Close()
}

func serve(listener net.Listener, target string) {
	for {
		channel, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			local, err := net.Dial("tcp", "127.0.0.1:"+target)
			if err != nil {
				channel.Close()
				return
			}
			relay(channel, local)
		}()
	}
}

func login(host, port, user, key, rekey string) error {
	text, err := os.ReadFile(key)
	if err != nil {
		return err
	}
	signer, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return err
	}
	bytes, err := strconv.ParseUint(rekey, 10, 64)
	if err != nil {
		return err
	}
	config := &ssh.ClientConfig{
		User:            user,
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), // the gateway was started for this run alone
		Timeout:         20 * time.Second,
	}
	config.RekeyThreshold = bytes
	client, err = ssh.Dial("tcp", net.JoinHostPort(host, port), config)
	return err
}

func forward(host, port, target string) (string, error) {
	listener, err := client.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return "", err
	}
	bound := strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	listeners[host+":"+bound] = listener
	go serve(listener, target)
	return bound, nil
}

func exec(command string) (string, error) {
	session, err := client.NewSession()
	if err != nil {
		return "", err
	}
	defer session.Close()
	output, err := session.Output(command)
	code := 0
	var exit *ssh.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitStatus()
	} else if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d %x", code, output), nil
}

func direct(host, port, target string) error {
	channel, err := client.Dial("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return err
	}
	local, err := net.Dial("tcp", "127.0.0.1:"+target)
	if err != nil {
		return err
	}
	go relay(channel, local)
	return nil
}

func obey(line string) (string, error) {
	words := strings.Split(line, " ")
	switch words[0] {
	case "login":
		return "", login(words[1], words[2], words[3], words[4], words[5])
	case "forward":
		return forward(words[1], words[2], words[3])
	case "cancel":
		return "", listeners[words[1]+":"+words[2]].Close()
	case "exec":
		return exec(line[len("exec "):])
	case "direct":
		return "", direct(words[1], words[2], words[3])
	case "rekey":
		return "", nil // by RekeyThreshold
	case "quit":
		return "", client.Close()
	}
	return "", errors.New("unknown command")
}

func main() {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == "golang.org/x/crypto" {
			fmt.Println("ready x/crypto", module.Version)
		}
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		answer, err := obey(lines.Text())
		if err != nil {
			fmt.Println("no", strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Println("ok", answer)
		}
		if lines.Text() == "quit" {
			return
		}
	}
}
