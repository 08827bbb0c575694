"""Reinforcement learning: replay, rollouts of the policy that is being trained, twin critics."""

from __future__ import annotations

import copy
import random
from collections import deque, namedtuple

import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical, Normal
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset

from zae_engine.trainer import Trainer

from .parts import CPU, constant, mlp, port, without_length


class Walk:
    """A walk on a line with noise by `numpy.random`: stay near zero."""

    def reset(self):
        self.state, self.t = np.random.uniform(-1, 1, 3).astype("float32"), 0
        return self.state

    def step(self, action):
        push = (
            float(action) if np.ndim(action) == 0 and not isinstance(action, (int, np.integer)) else (-0.5, 0.5)[action]
        )
        self.state = (0.9 * self.state + [push, 0, 0.1] + np.random.normal(0, 0.05, 3)).astype("float32")
        self.t += 1
        return self.state, 1.0 - abs(float(self.state[0])), self.t >= 12


Transition = namedtuple("Transition", ["state", "action", "reward", "next_state", "done"])


@port
def dqn_with_replay_by_random_and_a_target_network():
    """Each batch of the loader, a range of steps, is a step of the environment; epsilon-greedy by `random`."""

    class Dqn(Trainer):
        gamma, batch = 0.9, 8

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.target = copy.deepcopy(self.model)
            self.memory = deque(maxlen=30)
            self.env = Walk()
            self.state, self.steps_done = self.env.reset(), 0

        def select_action(self):
            eps = 0.05 + 0.85 * np.exp(-self.steps_done / 20)
            self.steps_done += 1
            if random.random() > eps:
                with torch.no_grad():
                    return int(self.model(torch.from_numpy(self.state)).argmax())
            return random.randrange(2)

        def run_batch(self, batch, **kwargs):
            action = self.select_action()
            next_state, reward, done = self.env.step(action)
            self.memory.append(Transition(self.state, action, reward, next_state, float(done)))
            self.state = self.env.reset() if done else next_state
            loss = torch.zeros(())
            if len(self.memory) >= self.batch:
                loss = self.optimize()
            if self.steps_done % 7 == 0:
                self.target.load_state_dict(self.model.state_dict())
            self.logging({"loss": loss, "reward": reward})
            self.progress_checker.update_step()

        def optimize(self):
            sample = Transition(*zip(*random.sample(self.memory, self.batch)))
            state, next_state = torch.from_numpy(np.stack(sample.state)), torch.from_numpy(np.stack(sample.next_state))
            q = self.model(state).gather(1, torch.tensor(sample.action)[:, None])[:, 0]
            with torch.no_grad():
                best = self.target(next_state).max(1).values
                goal = torch.tensor(sample.reward) + self.gamma * (1 - torch.tensor(sample.done)) * best
            loss = F.smooth_l1_loss(q, goal.float())
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_value_(self.model.parameters(), 1)
            self.optimizer.step()
            return loss

        def train_step(self, batch): ...

        def test_step(self, batch): ...

    model = mlp(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, amsgrad=True)
    trainer = Dqn(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    trainer.run(3, DataLoader(range(15), batch_size=1))
    trainer.extra = [trainer.target, [list(t) for t in list(trainer.memory)[-3:]]]
    return trainer


class Rollouts:
    """A loader that plays with the policy as it is when a batch is asked for."""

    batch_size, dataset = 1, range(6)

    def __init__(self, policy, n=6):
        self.policy, self.n, self.env = policy, n, Walk()

    def __len__(self):
        return self.n

    def __iter__(self):
        for _ in range(self.n):
            yield self.episode()

    def episode(self):
        states, actions, rewards = [], [], []
        state, done = self.env.reset(), False
        while not done:
            states.append(torch.from_numpy(state))
            with torch.no_grad():
                action = Categorical(logits=self.policy(states[-1])[:2]).sample()
            state, reward, done = self.env.step(int(action))
            actions.append(action)
            rewards.append(reward)
        returns, total = [], 0.0
        for reward in reversed(rewards):
            total = reward + 0.95 * total
            returns.insert(0, total)
        returns = torch.tensor(returns)
        return torch.stack(states), torch.stack(actions), (returns - returns.mean()) / (returns.std() + 1e-5)


class Reinforce(Trainer):
    """The policy gradient of PyTorch's example."""

    def train_step(self, batch):
        states, actions, returns = batch
        chance = Categorical(logits=self.model(states)[:, :2])
        return {"loss": -(chance.log_prob(actions) * returns).mean() - 0.01 * chance.entropy().mean()}

    test_step = train_step


@port
def reinforce_with_a_loader_that_plays_the_present_policy():
    """If a batch were fetched before the update, its actions would be those of an older policy."""
    model = mlp(3, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-2)
    trainer = Reinforce(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    trainer.run(3, Rollouts(model), Rollouts(model, 2))
    return trainer


@without_length
class Endless(Rollouts):
    """The same without a length."""

    __len__ = None  # type: ignore[assignment]


@port
def reinforce_with_an_on_policy_loader_without_a_length():
    """Nothing may be read ahead."""
    model = mlp(3, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-2)
    trainer = Reinforce(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    trainer.run(3, Endless(model), Endless(model, 2))
    return trainer


@port
def actor_critic_over_an_iterable_dataset_without_a_length():
    """The experience source of Lightning Bolts: an ``IterableDataset`` over a generator, in a `DataLoader`."""

    @without_length
    class Experience(IterableDataset):
        def __init__(self, generate):
            self.generate = generate

        def __iter__(self):
            return iter(self.generate())

    class ActorCritic(Trainer):
        def generate(self):
            env = Walk()
            state = env.reset()
            for _ in range(24):
                with torch.no_grad():
                    chance = Categorical(logits=self.model(torch.from_numpy(state))[:2])
                    action = chance.sample()
                after, reward, done = env.step(int(action))
                transition = torch.from_numpy(state), action, np.float32(reward), torch.from_numpy(after), float(done)
                yield *transition, chance.log_prob(action)
                state = env.reset() if done else after

        def train_step(self, batch):
            state, action, reward, after, done, behaviour = batch
            out = self.model(state)
            with torch.no_grad():
                goal = reward + 0.9 * (1 - done.float()) * self.model(after)[:, 2]
            advantage = (goal - out[:, 2]).detach()
            ratio = (Categorical(logits=out[:, :2]).log_prob(action) - behaviour).exp()  # 1, if nothing is read ahead
            policy = -(ratio * advantage).mean()
            return {"loss": policy + 0.5 * F.mse_loss(out[:, 2], goal), "reward": reward.mean()}

        test_step = train_step

    model = mlp(3, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    trainer = ActorCritic(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    trainer.run(3, DataLoader(Experience(trainer.generate), batch_size=4))
    return trainer


@port
def ppo_with_several_epochs_over_each_rollout():
    """A rollout is a batch; ``run_batch`` makes minibatches of it by `numpy.random` and steps on each."""

    class Ppo(Trainer):
        def run_batch(self, batch, **kwargs):
            states, actions, returns = self._to_device(*batch)
            self.model.train()
            with torch.no_grad():
                old = Categorical(logits=self.model(states)[:, :2]).log_prob(actions)
            losses = []
            index = np.arange(len(states))
            for _ in range(3):
                np.random.shuffle(index)
                for part in np.array_split(index, 3):
                    chance = Categorical(logits=self.model(states[part])[:, :2])
                    ratio = (chance.log_prob(actions[part]) - old[part]).exp()
                    clipped = ratio.clamp(0.8, 1.2)
                    loss = -torch.min(ratio * returns[part], clipped * returns[part]).mean()
                    self.optimizer.zero_grad()
                    loss.backward()
                    nn.utils.clip_grad_norm_(self.model.parameters(), 0.5)
                    self.optimizer.step()
                    losses.append(loss.item())
            self.scheduler.step()
            self.logging({"loss": torch.tensor(losses).mean()})
            self.progress_checker.update_step()

        def train_step(self, batch): ...

        def test_step(self, batch): ...

    model = mlp(3, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2, eps=1e-5)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda update: 1 - update / 20)
    trainer = Ppo(model, CPU, "train", optimizer, scheduler, scheduler_step_on_batch=True, log_bar=False)
    trainer.run(2, Rollouts(model))
    return trainer


@port
def soft_actor_critic_with_a_temperature_that_is_learnt():
    """Three optimizers, two of them over things that are no module: ``log_alpha`` is a lone tensor."""

    class Sac(Trainer):
        gamma, tau = 0.9, 0.1

        def policy(self, state):
            mean, log_std = self.model(state).chunk(2, -1)
            normal = Normal(mean, log_std.clamp(-3, 1).exp())
            x = normal.rsample()
            action = x.tanh()
            return action, (normal.log_prob(x) - (1 - action.pow(2) + 1e-6).log()).sum(-1, keepdim=True)

        def run_batch(self, batch, **kwargs):
            env, transitions = self.env, []
            for _ in range(4):
                with torch.no_grad():
                    action, _ = self.policy(torch.from_numpy(self.state))
                after, reward, done = env.step(np.float32(action.item()))
                self.memory.append((self.state, [action.item()], [reward], after))
                self.state = env.reset() if done else after
            transitions = random.choices(self.memory, k=8)
            s, a, r, s2 = (torch.tensor(np.array(v), dtype=torch.float32) for v in zip(*transitions))
            alpha = self.log_alpha.exp().detach()
            with torch.no_grad():
                a2, logp = self.policy(s2)
                q = torch.min(*[t(torch.cat([s2, a2], 1)) for t in self.targets])
                goal = r + self.gamma * (q - alpha * logp)
            q_loss = sum(F.mse_loss(c(torch.cat([s, a], 1)), goal) for c in self.critics)
            self.q_optimizer.zero_grad()
            q_loss.backward()
            self.q_optimizer.step()
            action, logp = self.policy(s)
            loss = (alpha * logp - torch.min(*[c(torch.cat([s, action], 1)) for c in self.critics])).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            alpha_loss = -(self.log_alpha * (logp + 1.0).detach()).mean()
            self.alpha_optimizer.zero_grad()
            alpha_loss.backward()
            self.alpha_optimizer.step()
            with torch.no_grad():
                for t, c in zip(self.targets, self.critics):
                    for pt, pc in zip(t.parameters(), c.parameters()):
                        pt.mul_(1 - self.tau).add_(self.tau * pc)
            self.logging({"loss": loss, "q": q_loss, "alpha": alpha})
            self.progress_checker.update_step()

        def train_step(self, batch): ...

        def test_step(self, batch): ...

    actor = mlp(3, 2)
    optimizer = torch.optim.Adam(actor.parameters(), lr=1e-2)
    trainer = Sac(actor, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    trainer.env, trainer.memory = Walk(), deque(maxlen=100)
    trainer.state = trainer.env.reset()
    trainer.critics = [mlp(4, 1), mlp(4, 1)]
    trainer.targets = copy.deepcopy(trainer.critics)
    trainer.log_alpha = torch.zeros(1, requires_grad=True)
    trainer.q_optimizer = torch.optim.Adam([p for c in trainer.critics for p in c.parameters()], lr=1e-2)
    trainer.alpha_optimizer = torch.optim.Adam([trainer.log_alpha], lr=1e-2)
    trainer.run(2, DataLoader(range(8), 1))
    trainer.extra = [trainer.critics, trainer.targets, trainer.log_alpha, trainer.q_optimizer]
    return trainer
