# ruff: noqa: E501 - one sentence a line
"""Sentences of the entity set, read one by one and tagged by hand, to measure what the automatic tags are worth.

They are the first 110 that `entities(train=6000)` drew for testing when this file was made, none left out: from the
documentation of NumPy, SciPy, scikit-learn, Matplotlib and pandas (BSD and Matplotlib licences). The reader knew the
rule (names of parameters of the function or class described, types, modules) and looked at the source where in doubt.
The words are cut as `mentions.tagged` cuts them; `{NAME axis}` tags what is inside the braces.
"""

import re

from bigmodel_lab.data.text.entities import TYPES, EntitySet

__all__ = ["read_by_hand"]

READ = """\
When variables are named ( either by a flexible dtype or with a {NAME names} sequence ) , there must not be any header in the file ( else a {TYPE ValueError} exception is raised ) .
The axis along which to delete the subarray defined by {NAME obj} .
Note that this class implements only the minimum necessary to keep {MODULE wavfile} . read ( ) happy .
Factor the matrix {NAME a} as qr , where q is orthonormal and r is upper-triangular .
If {NAME codes} is None and {NAME closed} is True , vertices will be treated as line segments of a closed polygon .
Starting from a seed sample , {NAME ncandidates} are sampled in the hypersphere surrounding the seed .
Reversed Operations not available in the stdlib {MODULE operator} module .
Depending on the path , such keys currently either flatten the {TYPE MultiIndex} to an {TYPE Index} of tuples or get padded with .
NetCDF files are accessed through the {TYPE netcdf_file} object .
How much the constraint is exceeded by , for each of the constraints specified by {TYPE PreparedConstraint} . fun .
If True , the {TYPE tuple} ( average , sum_of_weights ) is returned , otherwise only the average is returned .
Additional positional array arguments to be passed to {NAME a} and {NAME b} .
Note the difference to the standard definition of distortion in the context of the k-means algorithm , which is the sum of the squared distances .
Return the roots of the series polynomial .
This is a rectangle on the plot at the position indicated by {NAME bounds} that optionally has lines that connect the rectangle to an inset {TYPE Axes} ( {TYPE Axes} . inset_axes ) .
This is an explicit runge-kutta method of order ( 4 ) 5 due to Dormand & Prince ( with stepsize control and dense output ) .
An input array with {NAME n_components} fields is returned as a {TYPE tuple} of length n referencing slices of the original array .
In addition , certain {MODULE ctypes} call signatures are supported for backward compatibility , but those should not be used in new code .
{TYPE int} : the model fit is {TYPE AgglomerativeClustering} with {NAME n_clusters} set to be equal to the {TYPE int} .
Applies transformers to columns of an array or pandas {TYPE DataFrame} .
Using exhaust will sample enough candidates so that the last iteration uses as many resources as possible , based on {NAME min_resources} , {NAME max_resources} and {NAME factor} .
In case those are not specified or None , the marker color is determined by the next color of the {TYPE Axes} current shape and fill color cycle .
Note that the amount of resources used at each iteration is always a multiple of {NAME min_resources} .
If {NAME alpha} is a sequence and {NAME c} is a single color , {NAME c} will be repeated to match the length of {NAME alpha} .
The predicted class C for each sample in {NAME X} is returned .
The number of times the function was called to find the root .
Returns a {TYPE DataFrame} having the same indexes as the original object filled with the transformed values .
List of n tuples of form ( R , G , B ) being the components of each color .
The support is the number of occurrences of each class in {NAME y_true} .
Assuming the input {NAME a} is a one-dimensional NumPy array and {NAME mean} is either provided as an argument or computed as {NAME a} . mean ( ) , NumPy computes the variance of an array as Different values of the argument {NAME ddof} are useful in different contexts .
Computes the matrix norm of a matrix ( or a stack of matrices ) {NAME x} .
In such cases , by default f-score will be set to 0.0 , and {TYPE UndefinedMetricWarning} will be raised .
Previously , the default was - 1 , but a warning was given that this would change .
Only {NAME tol} or {NAME rtol} can be set at a time .
The return type depends on the plotting style ( see above ) .
The equation may be under - , well - , or over-determined ( i.e. , the number of linearly independent rows of {NAME a} can be less than , equal to , or greater than its number of linearly independent columns ) .
Unlike TeX , the font information and metrics are stored with each {TYPE Char} to make it easier to lookup the font metrics when needed .
Specifies how to color each class when plotting multiclass problems and {NAME class_of_interest} is None .
This function moderates the constraint value , the constraint demanding this value to be NONNEGATIVE .
Useful only if {NAME is_leaf} is True . the final subclusters .
{TYPE AxesImage} for a regular rectangular grid .
Get the line thickness that matches the given font .
This argument is ignored if initial centroids are specified with an array for the {NAME k_or_guess} parameter .
If a value is provided for {NAME origin1} and not for {NAME origin2} , then {NAME origin2} is set to {NAME origin1} .
This can be useful in least squares where the coefficients of the high degree terms may be very small .
The axis of {NAME a} to be sliced .
Sobol sequences are low-discrepancy , quasi-random numbers .
Note that this must be a {MODULE matplotlib . colors} . {TYPE Colormap} instance .
This is usually very different from any external font names ; {TYPE PsfontsMap} can be used to find the external name of the font .
If the default value is passed , then {NAME keepdims} will not be passed through to the sum method of sub-classes of {TYPE ndarray} , however any non-default value will be .
If both {NAME cov} and {NAME cov_root} are omitted , use the identity matrix .
This function computes the one-dimensional {NAME n} - point discrete Fourier Transform ( DFT ) of a real-valued array by means of an efficient algorithm called the Fast Fourier Transform ( FFT ) .
The type of the output array .
Number of norms held by this {TYPE MultiNorm} .
In the deprecated economic mode only h is returned .
Convert {NAME border_dict} to an openpyxl v2 {TYPE Border} object .
This function allows for {NAME a} , {NAME b} , and the output of {NAME func} to be of any broadcastable shapes .
Micro average ( averaging the total true positives , false negatives and false positives ) is only shown for multi-label or multi-class with a subset of classes , because it corresponds to accuracy otherwise and would be the same for all metrics .
If {NAME n} is not provided , the number of spline segments is determined based on the delta between {NAME theta1} and {NAME theta2} .
Compute the determinant of an array .
Masked array with the same shape as {NAME value} .
Possibly mangle a {TYPE list} of aggfuncs .
The classes are provided by the {NAME labels} argument , or inferred using {NAME y_true} .
Named {TYPE tuple} containing remote dataset meta information : url , filename and checksum .
Wrapper used by {TYPE _SetOutputMixin} to automatically wrap methods .
If zooming in on a plot when using {TYPE float} arguments then the actual data points that have markers will change because the distance between markers is always determined from the display-coordinates axes-bounding-box-diagonal regardless of the actual axes data limits .
This alters macro to account for label imbalance .
Another advantage in this algorithm is that you can supply it with guess vectors in the {NAME outer_v} argument that augment the Krylov subspace .
The {NAME slope} ( if given ) is always in data coordinates .
By default {TYPE BaseSearchCV} would return the best candidate out of all iterations .
Writing to the resulting array continues to work as it used to , but a {TYPE FutureWarning} is issued .
If categorical features are represented as numeric values such as {TYPE int} or iterables of strings , the {TYPE DictVectorizer} can be followed by {MODULE sklearn . preprocessing} . {TYPE OneHotEncoder} to complete binary one-hot encoding .
Normalize errorbar s {NAME errorevery} to be a boolean mask for data {NAME x} .
Requires that {NAME fid} is a file-like object .
A linear interpolation is performed based on the {NAME method} .
Note that empty rows containing no data such as empty lines and comment lines are not counted towards {NAME max_rows} , while such lines are counted in {NAME skiprows} .
For an {NAME extend} of min or max add one extra color , and for an {NAME extend} of both add two colors .
End-users most likely won't need to directly use this module's API .
On random data timsort is almost identical to mergesort .
random : choose {NAME n_clusters} observations ( rows ) at random from data for the initial centroids .
Warning that can be emitted by special functions .
This should be either {MODULE numpy} . amin or {MODULE numpy} . amax or {MODULE numpy} . sum .
If {NAME kernel} is multiquadric , linear , thin_plate_spline , cubic , or quintic , then {NAME degree} must not be lower than the minimum value listed above .
If {NAME window} is {TYPE array_like} , {NAME nperseg} is set to the length of the window .
This is a low-level drawing function for when you already have the statistical parameters .
Convert a {NAME style_dict} to a set of kwargs suitable for initializing or updating-on-copy an openpyxl v2 style object .
The name of the column is keyword , whereas the value determines the aggregation used to compute the values in the column .
If {TYPE dict} , then it the keys should be the feature names occurring in {NAME estimator} . feature_names_in_ and the values should be - 1 , 0 or 1 .
If {NAME names} is None , the names of the dtype fields will be used , if any .
Instead , markers should be specified using {NAME markerfmt} .
If {NAME return_onesided} is True , the values of the negative frequencies are added to values of the corresponding positive ones .
This method computes the sample covariance between each group's values and the corresponding values in {NAME other} .
Used to retrieve the number of instances ( samples ) in the dataset .
Ignored if {NAME validate_separately} is not False .
List of desired file extensions to filter the files to be loaded .
The first contains a 2D {TYPE ndarray} of shape ( 569 , 30 ) with each row representing one sample and the columns representing the features .
The k-means algorithm takes as input the number of clusters to generate , k , and a set of observation vectors to cluster .
Return a {TYPE Path} for the unit circle wedge from angles {NAME theta1} to {NAME theta2} ( in degrees ) .
Compute the log of the Wishart distribution normalization term .
A dictionary to use for memoizing , passed to {MODULE copy} . deepcopy .
If the {NAME scale_cls} constructor takes additional parameters , then {NAME init} should be passed to make_norm_from_scale .
If the default value is passed , then {NAME keepdims} will not be passed through to the mean method of sub-classes of {TYPE ndarray} , however any non-default value will be .
The default is to read all the rows .
If True , the default , emit {TYPE UserWarning} if this is used to attach documentation to a pure-python object .
Locates the ticks along an axis controlled by a {TYPE Series} .
If {NAME labels} is None and {NAME y_prob} has shape ( n_samples , ) the labels are assumed to be binary and are inferred from {NAME y_true} .
Must not be used with {NAME skip_footer} at the same time .
Whilst a {TYPE Path} instance itself cannot be drawn , some {TYPE Artist} subclasses , such as {TYPE PathPatch} and {TYPE PathCollection} , can be used for convenient {TYPE Path} visualisation .
If {NAME a} has more than two dimensions , then the axes specified by {NAME axis1} and {NAME axis2} are used to determine the 2-D sub-arrays whose traces are returned .
If neither {NAME otypes} nor {NAME signature} are provided , and {NAME cache} is True , then cache the number of outputs .
"""


def read_by_hand() -> EntitySet:
    """Return the sentences read by hand, with the reader's tags."""
    words, tags = zip(*(_parse(line) for line in READ.splitlines()), strict=True)
    return EntitySet(words, tags, TYPES)


def _parse(line: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    words: list[str] = []
    tags: list[str] = []
    for kind, inside, outside in re.findall(r"\{([A-Z]+) ([^{}]+)\}|(\S+)", line):
        words += inside.split() or [outside]
        tags += [f"{'I' if n else 'B'}-{kind}" for n in range(len(inside.split()))] or ["O"]
    return tuple(words), tuple(tags)
