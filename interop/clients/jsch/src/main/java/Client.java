import com.jcraft.jsch.Channel;
import com.jcraft.jsch.ChannelExec;
import com.jcraft.jsch.JSch;
import com.jcraft.jsch.Session;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.Socket;
import java.util.HexFormat;

/** JSch, driven over standard input: see interop/program.py for the commands. */
public final class Client {
    private static Session session;

    public static void main(String[] arguments) throws Exception {
        System.out.println("ready JSch " + JSch.VERSION);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            try {
                System.out.println("ok " + obey(line.split(" ", -1), line));
            } catch (UnsupportedOperationException reason) {
                System.out.println("n/a " + reason.getMessage());
            } catch (Exception error) {
                System.out.println("no " + String.valueOf(error).replace('\n', ' '));
            }
            if (line.equals("quit")) {
                System.exit(0);
            }
        }
    }

    private static String obey(String[] words, String line) throws Exception {
        switch (words[0]) {
            case "login":
                return login(words);
            case "forward":
                return "" + session.setPortForwardingR(words[1] + ":" + words[2] + ":127.0.0.1:" + words[3]);
            case "cancel":
                session.delPortForwardingR(words[1], Integer.parseInt(words[2]));
                return "";
            case "exec":
                return exec(line.substring("exec ".length()));
            case "direct":
                return direct(words[1], Integer.parseInt(words[2]), Integer.parseInt(words[3]));
            case "rekey":
                throw new UnsupportedOperationException(
                    "JSch hangs when its rekey() is called under traffic, with OpenSSH's sshd too");
            case "quit":
                session.disconnect();
                return "";
            default:
                throw new IllegalArgumentException("unknown command");
        }
    }

    private static String login(String[] words) throws Exception {
        JSch library = new JSch();
        library.addIdentity(words[4]);
        session = library.getSession(words[3], words[1], Integer.parseInt(words[2]));
        session.setConfig("StrictHostKeyChecking", "no"); // the gateway was started for this run alone
        session.setConfig("PreferredAuthentications", "publickey");
        session.connect(20_000);
        return "";
    }

    private static String exec(String command) throws Exception {
        ChannelExec channel = (ChannelExec) session.openChannel("exec");
        channel.setCommand(command);
        var output = channel.getInputStream();
        channel.connect(20_000);
        byte[] read = output.readAllBytes();
        for (int tries = 0; !channel.isClosed() && tries < 400; tries++) {
            Thread.sleep(50); // JSch has no call that waits for the close, which the exit status precedes
        }
        channel.disconnect();
        return channel.getExitStatus() + " " + HexFormat.of().formatHex(read);
    }

    private static String direct(String host, int port, int target) throws Exception {
        Channel channel = session.getStreamForwarder(host, port);
        Socket local = new Socket("127.0.0.1", target);
        var in = channel.getInputStream(); // not setInputStream: JSch then ends both directions with the first
        var out = channel.getOutputStream();
        channel.connect(20_000);
        new Thread(() -> copy(() -> local.getInputStream().transferTo(out), out::close)).start();
        new Thread(() -> copy(() -> in.transferTo(local.getOutputStream()), local::shutdownOutput)).start();
        return "";
    }

    private interface Step {
        void run() throws Exception;
    }

    private static void copy(Step all, Step end) {
        try {
            all.run();
            end.run();
        } catch (Exception error) {
            System.err.println("relay: " + error);
        }
    }
}
