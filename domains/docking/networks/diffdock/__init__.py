"""DiffDock's published score network, which runs the weights of a release."""

from domains.docking.networks.diffdock.confidence import ConfidenceModel as ConfidenceModel
from domains.docking.networks.diffdock.config import DiffDockConfig as DiffDockConfig
from domains.docking.networks.diffdock.graphs import ComplexGraph as ComplexGraph
from domains.docking.networks.diffdock.graphs import LigandGraph as LigandGraph
from domains.docking.networks.diffdock.graphs import ReceptorAtoms as ReceptorAtoms
from domains.docking.networks.diffdock.graphs import ReceptorGraph as ReceptorGraph
from domains.docking.networks.diffdock.network import DiffDockScoreModel as DiffDockScoreModel
from domains.docking.networks.diffdock.score_network import DiffDock as DiffDock
