"""What invites a backchannel, and when it is answered: published figures that rules, detectors and simulation share.

Ward and Tsukahara 2000: a region of low pitch after some speech is answered about 700 ms later. Levinson 2015: the
usual gap between turns is 200 ms.
"""

from __future__ import annotations

LOW_PITCH_PERCENTILE = 26.0
"""A pitch below this percentile of the speaker's own is low (Ward and Tsukahara 2000)."""
LOW_PITCH_S = 0.11
"""A region of low pitch is a cue once it has lasted this long (Ward and Tsukahara 2000)."""
TALK_S = 0.7
"""Speech that must come before a cue (Ward and Tsukahara 2000)."""
PAUSE_S = 0.2
"""A pause of this length after speech is a cue: the usual gap between turns (Levinson 2015)."""
ANSWER_DELAY_S = 0.7
"""Mean time from a cue to its answer (Ward and Tsukahara 2000)."""
