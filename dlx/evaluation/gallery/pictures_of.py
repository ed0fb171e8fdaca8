"""Which pictures show what a network's work looks like: the one match of tasks."""

from dlx.data import Part
from dlx.evaluation.gallery import adversarial, autoencoders, boltzmann, forecast, language, translation
from dlx.evaluation.gallery.pictures import Picture
from dlx.experiment.restore import Trained
from dlx.tasks import Supervised
from dlx.tasks.belief import GreedyPretraining
from dlx.tasks.boltzmann import ContrastiveDivergence
from dlx.tasks.cycle import Cycle
from dlx.tasks.language import LanguageModelling
from dlx.tasks.noise_rivals import NoiseRivals
from dlx.tasks.reconstruction import Reconstruction
from dlx.tasks.seq2seq import SequenceToSequence
from dlx.tasks.variational import VariationalInference


def pictures_of(trained: Trained, part: Part) -> tuple[Picture, ...]:
    """Pictures of a network's work on a part of the data; none for a task whose tables say it all."""
    match trained.task:
        case Supervised():
            return forecast.pictures(trained, part)
        case LanguageModelling():
            return language.pictures(trained, part)
        case SequenceToSequence():
            return translation.pictures(trained, part)
        case Reconstruction() | VariationalInference():
            return autoencoders.pictures(trained, part)
        case ContrastiveDivergence() | GreedyPretraining():
            return boltzmann.pictures(trained, part)
        case NoiseRivals() | Cycle():
            return adversarial.pictures(trained, part)
        case _:
            return ()
