"""The words that given names are made of: short, friendly, easy to say over a phone."""

from __future__ import annotations

ADJECTIVES = tuple(
    """able agile airy alert amber ample apt arctic autumn azure bold bonny brave breezy bright brisk broad bronze
    bubbly busy calm candid careful cheery chief chilly choice civil classy clean clear clever cloudy coastal
    cobalt cool copper coral cosmic cosy cozy crisp crystal curious curly dainty dapper daring dawn deep deft dewy
    direct dreamy dusky eager early earnest easy ebony elated elder elegant epic even exact fabled fair famous
    fancy fast festive fine firm fleet floral fluent fluffy fond frank free fresh frosty full funny gallant gentle
    giant gifted glad gleaming glossy golden good graceful grand grassy great green handy happy hardy hazel hearty
    helpful hidden hilly honest humble icy ideal indigo inland ivory jade jaunty jazzy jolly jovial joyful keen
    kind kindly lasting leafy light lilac limber lively lofty loyal lucid lucky lunar lush magic maple marine
    mellow merry mighty mild mint misty modest mossy mystic native natural neat nimble noble northern novel oaken
    ocean olive open opal orange orderly pacific pastel patient peaceful pearly pine placid plucky plum polar
    polite prime proper proud pure quaint quick quiet radiant rapid rare ready regal robust rosy round royal ruby
    rustic sage sandy scarlet secure serene sharp shiny silent silken silver simple sincere sleek smart smooth
    snowy snug social soft solar solid sonic sound southern spare speedy spring spruce stable starry steady stellar
    still stoic strong sturdy sunny super sure swift tall tame tawny teal tender thrifty tidal tidy timely tiny
    topaz tranquil trim true trusty upbeat urban valiant vast velvet verdant violet vital vivid warm wavy wealthy
    western whole wild willing windy winged winter wise witty woody worthy young zesty""".split()
)
NOUNS = tuple(
    """acorn alder anchor antler apple apron arbor arch arrow ash aspen atlas aurora badger bamboo barge barley basin
    bay bayou beach beacon bear beaver beech berry birch bison blossom bluff boat bobcat bonfire bough boulder
    bramble branch breeze bridge brook buffalo bush cabin cactus camel canal candle canoe canyon cape cardinal
    caribou castle cavern cedar channel cherry chestnut cliff cloud clover coast comet compass condor coral cosmos
    cottage cougar cove coyote crane crater creek crest cricket crow current cypress dahlia daisy dale dawn deer
    delta desert dolphin dove dragon drift dune eagle echo eddy elk elm ember falcon fern ferry field finch fiord
    fir flame flint forest fossil fox fountain frog galaxy garden garnet gazelle geyser ginger glacier glade glen
    gorge grove gull harbor hare harvest haven hawk hazel heath hedge heron hill holly horizon hornet iguana inlet
    iris island isle ivy jaguar jasmine jay jetty juniper kayak kelp kestrel kettle kite koala lagoon lake lantern
    larch lark laurel lava leaf ledge lemur leopard lilac lily linden lion lizard llama lobster lotus lynx magnet
    magpie mallow mango maple marble marlin marsh marten meadow mesa meteor mill mink minnow mole moon moose moss
    moth mountain nebula nectar nest newt nightjar nova oak oasis ocean ocelot orbit orca orchard orchid osprey
    otter owl palm panda panther papaya path peach peak pearl pebble pelican penguin pepper perch petal pier pigeon
    pilot pine pixel planet plateau plaza plover plum pond poplar poppy prairie puffin puma quail quarry quartz
    quill rabbit raccoon rain raven reed reef ridge river robin rocket rook rose saddle saffron sail salmon sandbar
    sapling satchel savanna sea seal sequoia shadow shell shore shrub sierra sky sleet snow sparrow spruce squid
    star stone stork storm strait stream summit sun swallow swan swift tapir teal temple tern thicket thistle
    thrush thunder tide tiger timber toad topaz torch toucan tower trail trout tulip tundra turtle valley vine
    viper vista vole walnut walrus warbler water wave weasel whale wharf wheat willow wind wolf wombat wood wren
    yak yarrow yew zebra zenith""".split()
)
