// Moves the sun and its large planets, and watches what must stay: their energy.
//
//     planets [DAYS]           20000 if not given
//
// Each body pulls each other one. The leapfrog method moves them in steps of one day: half a step
// of speed, a whole one of place, half a one of speed. It keeps the energy to some parts in a
// million for ever, so a wrong sum anywhere shows at once. Units: astronomical unit, day, sun mass.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { BODY_COUNT = 5, AXIS_COUNT = 3 };

typedef struct body {
    const char *name;
    double mass;
    double place[AXIS_COUNT];
    double speed[AXIS_COUNT];
    double pull[AXIS_COUNT];
} body;

static const double GRAVITY = 2.959122082855911e-4;
static const double STEP = 1.0;

// Rounded places and speeds of one day; what matters is that they move like planets.
static body bodies[BODY_COUNT] = {
    {"sun", 1.0, {0, 0, 0}, {0, 0, 0}, {0}},
    {"jupiter",
     9.547919e-4,
     {4.841431, -1.160320, -0.103622},
     {0.001660, 0.007699, -0.000069},
     {0}},
    {"saturn", 2.858860e-4, {8.343367, 4.124799, -0.403523}, {-0.002767, 0.004999, 0.000023}, {0}},
    {"uranus",
     4.366244e-5,
     {12.894370, -15.111151, -0.223308},
     {0.002965, 0.002378, -0.000030},
     {0}},
    {"neptune",
     5.151389e-5,
     {15.379697, -25.919315, 0.179259},
     {0.002681, 0.001628, -0.000095},
     {0}},
};

static double square(double value)
{
    return value * value;
}

static double distance(const body *left, const body *right)
{
    double sum = 0;
    for (int axis = 0; axis < AXIS_COUNT; axis++)
        sum += square(left->place[axis] - right->place[axis]);
    return sqrt(sum);
}

static void compute_pulls(void)
{
    for (int i = 0; i < BODY_COUNT; i++)
        for (int axis = 0; axis < AXIS_COUNT; axis++) bodies[i].pull[axis] = 0;
    for (int i = 0; i < BODY_COUNT; i++) {
        for (int j = i + 1; j < BODY_COUNT; j++) {
            double apart = distance(&bodies[i], &bodies[j]);
            double factor = GRAVITY / (apart * apart * apart);
            for (int axis = 0; axis < AXIS_COUNT; axis++) {
                double towards = (bodies[j].place[axis] - bodies[i].place[axis]) * factor;
                bodies[i].pull[axis] += towards * bodies[j].mass;
                bodies[j].pull[axis] -= towards * bodies[i].mass;
            }
        }
    }
}

static void change_speeds(double time)
{
    for (int i = 0; i < BODY_COUNT; i++)
        for (int axis = 0; axis < AXIS_COUNT; axis++)
            bodies[i].speed[axis] += bodies[i].pull[axis] * time;
}

static void change_places(double time)
{
    for (int i = 0; i < BODY_COUNT; i++)
        for (int axis = 0; axis < AXIS_COUNT; axis++)
            bodies[i].place[axis] += bodies[i].speed[axis] * time;
}

static double energy(void)
{
    double sum = 0;
    for (int i = 0; i < BODY_COUNT; i++) {
        double speed = 0;
        for (int axis = 0; axis < AXIS_COUNT; axis++) speed += square(bodies[i].speed[axis]);
        sum += bodies[i].mass * speed / 2;
        for (int j = i + 1; j < BODY_COUNT; j++)
            sum -= GRAVITY * bodies[i].mass * bodies[j].mass / distance(&bodies[i], &bodies[j]);
    }
    return sum;
}

// The sun gets the speed that lets the whole system rest.
static void stop_drift(void)
{
    for (int axis = 0; axis < AXIS_COUNT; axis++) {
        double sum = 0;
        for (int i = 1; i < BODY_COUNT; i++) sum += bodies[i].speed[axis] * bodies[i].mass;
        bodies[0].speed[axis] = -sum / bodies[0].mass;
    }
}

int main(int argument_count, char **arguments)
{
    long days = argument_count > 1 ? strtol(arguments[1], NULL, 10) : 20000;
    stop_drift();
    compute_pulls();
    double before = energy();
    for (long day = 0; day < days; day++) {
        change_speeds(STEP / 2);
        change_places(STEP);
        compute_pulls();
        change_speeds(STEP / 2);
    }
    double change = fabs((energy() - before) / before);
    printf("after %ld days\n", days);
    for (int i = 0; i < BODY_COUNT; i++)
        printf("%-8s %12.6f %12.6f %12.6f\n", bodies[i].name, bodies[i].place[0],
               bodies[i].place[1], bodies[i].place[2]);
    printf("energy %.9e, changed by less than 1e-4: %s\n", before, change < 1e-4 ? "yes" : "NO");
    return change < 1e-4 ? 0 : 1;
}
